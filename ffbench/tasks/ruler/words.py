"""Keys of needles: pairs of common words, in place of the wonderwords package that RULER uses."""

ADJECTIVES = """ able amber ancient blue bold brave bright brisk broad brown calm careful cheap
clean clear clever cold common cool crisp curious dark deep distant dry dusty eager early easy
empty equal even fair faint famous fast final fine firm flat fresh full gentle giant glad golden
good grand gray great green happy hard heavy hidden high hollow honest huge humble icy idle joyful
keen kind large late lazy level light little lively local lone long loud low loyal lucky major
mellow merry mild modern narrow neat new nice noble odd old open pale patient plain polite proud
pure quick quiet rapid rare ready red rich ripe rough round royal rusty safe scarce sharp shiny
short silent silver simple sleepy slim slow small smart smooth soft solid sour steady steep still
strong sturdy subtle sunny sweet swift tall tame tender thick thin tidy tiny tired true vast vivid
warm weary white whole wide wild wise witty wooden young
"""
NOUNS = """
acorn anchor apple arrow badge bakery ball banner barn basket beacon bell bench bicycle blanket
boat book bottle bowl branch bridge brook broom brush bucket button cabin cactus camera candle
canyon carpet castle cave chain chair cherry circle cliff clock cloud coast coin comet compass
copper corner cotton crane creek crown cup curtain desk diamond ditch dolphin door dragon drum
eagle engine falcon farm feather fence ferry field flag flute forest fork fountain fox garden gate
giraffe glacier glove grape hammer harbor hat hawk helmet hill horse house iron island jacket jar
jungle kettle key kite ladder lake lamp lantern leaf lemon library lion lobby magnet map marble
market meadow mirror moon mountain needle nest ocean olive onion orchard otter owl paddle palace
panther paper parrot path peach pebble pencil piano pillow pine planet plum pocket pond prairie
puzzle quilt rabbit raven ribbon ridge river road rocket roof root rope saddle sail salmon scarf
school shadow shelf ship shoe signal spoon spring squirrel stable star statue stone store stream
street summit table tower train tunnel turtle valley vase village violin wagon wall walnut whale
wheel willow window wolf zebra
"""
PAIRS = tuple(
    f"{adjective}-{noun}"
    for adjective in dict.fromkeys(ADJECTIVES.split())
    for noun in dict.fromkeys(NOUNS.split())
)
